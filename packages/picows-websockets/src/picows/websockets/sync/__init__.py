"""The threading API: blocking calls, and one thread per connection that reads."""
