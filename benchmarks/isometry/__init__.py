"""The theory of local isometry put to the test on manifolds of known factors: `python -m benchmarks.isometry`."""
