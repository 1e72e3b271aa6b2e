"""Clusters: pictures, and tiles of one picture, on workers of Dask, on this machine or others."""
