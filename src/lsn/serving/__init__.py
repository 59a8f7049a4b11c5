"""A trained model as a service: videos and live frames in, answers and events out, over HTTP and WebSocket."""

from lsn.serving.client import AsyncLiveClient, Client, LiveClient, ServerError

__all__ = ["AsyncLiveClient", "Client", "LiveClient", "ServerError"]
