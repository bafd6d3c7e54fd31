"""An app and a plan turned into a running instance: workspace, port, bind address, secrets, health."""
