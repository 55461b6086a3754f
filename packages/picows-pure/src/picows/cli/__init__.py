"""The `picows` command: `connect`, `serve`, `bench` and `doctor` (see `picows.cli.main`)."""
