"""The executor on a Dask cluster (extra `dask`). Its modules are imported only when it is asked for."""
