"""A trained model as a service: videos and live frames in, answers and events out, over HTTP and WebSocket."""
