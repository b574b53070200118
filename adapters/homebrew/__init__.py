"""DMR repeaters over the Homebrew protocol: we are the master that they sign in to."""
