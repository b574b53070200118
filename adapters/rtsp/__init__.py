"""Plain RTSP cameras and encoders: an address, and nothing else to ask them."""
