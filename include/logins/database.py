"""FAB's own settings, where Airflow's database has the users and their passwords: the default.

Airflow reads this file as the api-server starts (``[fab] config_file``). docs/centre.md says how Entra ID or
another OpenID Connect provider takes its place.
"""

from flask_appbuilder.const import AUTH_DB

AUTH_TYPE = AUTH_DB
AUTH_USER_REGISTRATION = False
WTF_CSRF_ENABLED = True
