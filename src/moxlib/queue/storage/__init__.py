"""Where the queue keeps its messages: the `Storage` protocol, and the engines behind it."""
