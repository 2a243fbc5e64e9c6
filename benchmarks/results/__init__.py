"""Every method on every data set: trained, scored and tabled by `python -m benchmarks.results`."""
