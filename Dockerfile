# Airflow's official image with what the project asks for, pinned. docker-compose.yaml mounts the code.
FROM apache/airflow:3.3.2-python3.12
COPY requirements.txt /requirements.txt
RUN pip install --no-cache-dir --requirement /requirements.txt
# The volumes belong to the user of these folders, who may be any of group 0.
RUN mkdir -p /opt/airflow/logs /opt/airflow/results && chmod g+rwX /opt/airflow/logs /opt/airflow/results
