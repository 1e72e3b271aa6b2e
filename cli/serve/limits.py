"""What a client may ask for at most, and how long it may take."""

from __future__ import annotations

from impasto.runtime.pictures.places import LIMITS

#: The bytes of an uploaded file, and the seconds that it may take: those of a picture from an address.
UPLOAD = LIMITS

#: The pixels of an uploaded picture; a camera of the largest kind has fewer.
PIXELS = 200_000_000

#: The bytes of a request in JSON.
JSON = 1 << 18

#: The paintings of a request.
STYLES = 16

#: The runs in the queue.
WAITING = 100

#: The uploads at a time.
UPLOADS = 4

#: The lines of a run's messages that are kept, and the longest of them.
MESSAGES, MESSAGE = 100, 500

#: The connections at a time; from then on, the one that has asked for nothing for longest is closed.
CONNECTIONS = 160

#: Seconds until the head of a request has to be there, and until a reader has to take what is sent.
HEAD, SENDING = 10.0, 60.0

#: The bytes that are taken of a request that is refused.
UNWANTED = 1 << 23

#: Seconds between two signs of life in a stream of events.
HEARTBEAT = 15.0

#: The longest sides of pictures that are made for the page.
THUMBNAIL, SHOWN = 320, 2048
