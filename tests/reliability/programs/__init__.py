"""Programs as users write them, over the public SDK, that the tests run, fork and kill."""
