"""What is wrong with the gateway now: items with a code, a text and a mend."""
