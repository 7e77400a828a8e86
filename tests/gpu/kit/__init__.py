"""The parts of the GPU kit. They need Python 3.10 or newer and its standard library, nothing else."""
