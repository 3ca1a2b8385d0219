"""The contenders of bench_peers.py: each trains the same networks on the same images in a process of its own."""
