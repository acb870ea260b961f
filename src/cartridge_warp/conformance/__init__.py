"""Is a connector one? Pytest classes that its author subclasses: green is yes.

``conformance.source`` has ``SourceSuite``, ``conformance.destination`` has
``DestinationSuite``, each with the powers that a connector may have beside it. They
test ``cartridge_warp.protocols`` from outside, and every failure quotes the promise
that was broken. They are the only modules of the package that need pytest.

``conformance.drain`` is a destination that throws every row away, to measure the rest.
"""
