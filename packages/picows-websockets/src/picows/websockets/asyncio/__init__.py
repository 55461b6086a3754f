"""The asyncio API: `client`, `server`, `router`, and what they share."""
