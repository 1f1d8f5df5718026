"""FAB's own settings for any OpenID Connect provider: ``LOGINS_FILE=./include/logins/oidc.py`` in .env.

OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET go into connections.env; the redirect URI is
``<BASE_URL>/auth/oauth-authorized/oidc``. The claim ``groups`` of the user information gives the roles here,
at every login; who is in none of these groups gets in nowhere.
"""

import os

from flask_appbuilder.const import AUTH_OAUTH

_ISSUER = os.environ["OIDC_ISSUER"].rstrip("/")

AUTH_TYPE = AUTH_OAUTH
WTF_CSRF_ENABLED = True
AUTH_USER_REGISTRATION = True  # whom the provider lets in is made at the first login ...
AUTH_USER_REGISTRATION_ROLE = "Public"  # ... without a right of its own
AUTH_ROLES_SYNC_AT_LOGIN = True
AUTH_ROLES_MAPPING = {
    "hpc-users": ["Scientist"],
    "hpc-approvers": ["Approver"],
    "hpc-operators": ["Operator"],
    "hpc-admins": ["Admin"],
}
OAUTH_PROVIDERS = [
    {
        "name": "oidc",
        "icon": "fa-key",
        "token_key": "access_token",
        "remote_app": {
            "client_id": os.environ["OIDC_CLIENT_ID"],
            "client_secret": os.environ["OIDC_CLIENT_SECRET"],
            "server_metadata_url": f"{_ISSUER}/.well-known/openid-configuration",
            "client_kwargs": {"scope": "openid email profile groups"},
        },
    }
]
