"""Makes a plan, a graph of fingerprinted steps, from a specification. Pure: runs and writes nothing."""
