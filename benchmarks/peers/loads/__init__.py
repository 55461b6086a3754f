"""Load generators: raw sockets and prebuilt frames, no WebSocket library, so that they cost the same for everyone."""
