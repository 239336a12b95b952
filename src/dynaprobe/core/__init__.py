"""What every room shares: errors, time, trials, rates, preprocessing and random streams."""
