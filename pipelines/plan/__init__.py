"""Specification x store -> a graph of fingerprinted steps. Pure: nothing is run or written here."""
