"""What every study works with: samples, trials that outlive a stop, one palette, one kind of page."""
