"""
authsvc from the other side: verify its access tokens, and hold a session with it.

    from authsvc_client.verifier import TokenVerifier
    from authsvc_client.session import NativeSession
"""
