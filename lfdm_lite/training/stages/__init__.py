"""What is trained: the auto-encoder, the diffusion model, the decoder alone, the judge; and the clips that they see."""
