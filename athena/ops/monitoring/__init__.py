"""What is shipped for Prometheus, Alertmanager and Grafana, with the runbook their alerts point to."""
