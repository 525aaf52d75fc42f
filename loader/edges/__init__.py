"""Each owns one kind of outside thing: files, the service, the queues between processes."""
