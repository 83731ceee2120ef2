"""The provenance of versions that tests push."""

from components.push.versions import Provenance

NOW = '2024-05-06T07:08:09+00:00'


def facts(artifact: str, candidate: str = '') -> Provenance:
    return Provenance(
        model='expression',
        candidate=candidate or f'made of {artifact}',
        artifact=artifact,
        run='run',
        commit='',
        data='data',
        created=NOW,
        kpis={'accuracy': 0.5},
    )
