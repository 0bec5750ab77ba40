"""Programs that measure. Each prints what it found beside a floor measured in the same run, and judges nothing."""
