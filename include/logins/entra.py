"""FAB's own settings, where Microsoft Entra ID has the users.

.env names this file: ``LOGINS_FILE=./include/logins/entra.py``.
ENTRA_TENANT_ID, ENTRA_CLIENT_ID and ENTRA_CLIENT_SECRET of the app registration go into connections.env; its
redirect URI is ``<BASE_URL>/auth/oauth-authorized/azure``. Its app roles Scientist, Approver, Operator and
Admin give the roles here, at every login; who has none of them gets in nowhere.
"""

import os

from flask_appbuilder.const import AUTH_OAUTH

_AUTHORITY = f"https://login.microsoftonline.com/{os.environ['ENTRA_TENANT_ID']}"

AUTH_TYPE = AUTH_OAUTH
WTF_CSRF_ENABLED = True
AUTH_USER_REGISTRATION = True  # whom Entra ID lets in is made at the first login ...
AUTH_USER_REGISTRATION_ROLE = "Public"  # ... without a right of its own
AUTH_ROLES_SYNC_AT_LOGIN = True
AUTH_ROLES_MAPPING = {role: [role] for role in ("Scientist", "Approver", "Operator", "Admin")}
OAUTH_PROVIDERS = [
    {
        "name": "azure",  # FAB's word for it: the token's signature, tenant and audience are verified
        "icon": "fa-windows",
        "token_key": "access_token",
        "remote_app": {
            "client_id": os.environ["ENTRA_CLIENT_ID"],
            "client_secret": os.environ["ENTRA_CLIENT_SECRET"],
            "server_metadata_url": f"{_AUTHORITY}/v2.0/.well-known/openid-configuration",
            "api_base_url": f"{_AUTHORITY}/",
            "client_kwargs": {"scope": "openid email profile", "tenant_id": os.environ["ENTRA_TENANT_ID"]},
        },
    }
]
