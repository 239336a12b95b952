"""What the animal or network is asked to do."""
