"""The asyncio shell around the transport floor: everything that touches MQTT.

May import ``transport`` and third parties; never ``agents``.

Theory of operation. The MQTT broker is the network. One :class:`~bus.client.BusClient` is one connection: it
publishes with QoS 1 and waits for the acknowledgement, keeps a persistent session, and outlives the broker's
absence: a publish that returned has reached the broker, whatever happened meanwhile. Incoming payloads are
parsed once into a :class:`~bus.frame.Frame` and handed, in the socket's own callback and without a task for
each, to the handler of their exact topic, which puts them into the bounded mailbox of an actor. Topics are
value types (:mod:`bus.topics`): no other room spells one. A bearer (:mod:`bus.bearers`) turns "send this and
prove that it arrived" into TPDUs, frames and retries. What a stranger publishes ends as a counted, logged
drop (:class:`~bus.errors.FrameRejected`), never as an exception in an actor.
"""
