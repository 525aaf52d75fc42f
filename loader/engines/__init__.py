"""What starts processes and threads, and drives decisions and edges."""
