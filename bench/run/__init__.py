"""From a request to records: plan, identity, environment, runner."""
