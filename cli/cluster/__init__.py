"""Clusters of Dask: pictures of a batch, or tiles of one picture, on workers of this machine or of others."""
