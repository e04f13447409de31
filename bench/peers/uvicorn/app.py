"""A function behind HTTP: the body of a POST is the pickled call, the answer is the pickled result."""

import pickle


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    function, argument = pickle.loads(b"".join(parts))
    body = pickle.dumps(function(argument), 5)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
