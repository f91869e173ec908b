"""What `lfdm generate` needs beside the model: wishes about the motion, checked and carried out."""
