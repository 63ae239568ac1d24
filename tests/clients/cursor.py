"""One turn of a local agent of the Cursor SDK: the prompt is the last argument, the answer is printed."""

import os
import sys

from cursor_sdk import Agent

options = {"model": "composer-2", "api_key": os.environ["CURSOR_API_KEY"], "local": {"cwd": os.getcwd()}}
print(Agent.prompt(sys.argv[-1], options).result)
