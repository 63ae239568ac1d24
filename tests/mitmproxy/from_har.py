# Writes the archive FILE as this version of mitmproxy keeps flows: FILE.mitm.
import sys

from mitmproxy import io

with open(sys.argv[1], "rb") as archive, open(sys.argv[1] + ".mitm", "wb") as flows:
    writer = io.FlowWriter(flows)
    for flow in io.FlowReader(archive).stream():
        writer.add(flow)
