"""Language models that write or judge: loaded here, or behind an endpoint.

This package imports none of its modules, so that what needs an order alone does not load torch.
"""
