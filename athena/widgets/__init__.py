"""The control room: views that show state and call the handles, and the Jupyter server's part that takes HALT past a
busy kernel. Nothing here decides."""
