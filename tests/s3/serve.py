"""An S3 server in memory on a free port; prints its port and runs until its input ends."""

import sys
import threading

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

# The server looks whether a key is there, then writes it, on a thread for each
# connection: two creates of one key could both win, which S3 excludes.
one_at_a_time = threading.Lock()
put_object = S3Response.put_object


def put_object_alone(self):
    with one_at_a_time:
        return put_object(self)


S3Response.put_object = put_object_alone

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
