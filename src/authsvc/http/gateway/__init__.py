"""Forward authentication for gateways."""
