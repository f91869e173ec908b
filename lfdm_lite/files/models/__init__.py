"""What a checkpoint is made of: configs, weights, pickles of others, a card; `files.checkpoints` puts them together."""
