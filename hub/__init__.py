"""The network door: what agents and people may ask of the store, over HTTP. All state is in the store.

app (put together), agent_api and people_api (what is answered), auth (who asks), bodies (what was sent), describe (the
OpenAPI of it), messages (records as answers), waiting (long polls), serve (addresses and TLS).
"""
