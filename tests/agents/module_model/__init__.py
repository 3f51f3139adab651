"""A model of the security module, and what it takes to have a real one live through the same stories.

``model`` is the model: written from the design, it knows nothing of how the module does what it does.
``card`` is a module on a medium that films its writes, and the comparison of the two. ``teller`` plays a rule
on both and lets power fail in the middle of it; ``operator_rules``, ``supplier_rules``, ``world_rules`` and
``stranger_rules`` are what may happen, ``scenes`` what happens together. ``test_module_model`` tells stories.
"""
