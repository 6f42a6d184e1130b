"""The pages with a panel's forms: `GET /settings` shows one, `POST /settings` takes it. `POST /switch` turns a plugin
on or off.

They stand beside the live page, so that nothing moves under the hands of who types, and work without scripts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from appliance.api import JsonValue, PanelForm, PluginPanel, SettingField, SettingProblem
from appliance.types.errors import ApplianceError
from plugins.status_page import forms
from plugins.status_page.errors import StaleFormError
from plugins.status_page.render import Renderer
from plugins.status_page.texts import TEXTS

MAX_FORM_BYTES = 256 * 1024
"""A thousand routes, each letter of which a browser may write as three."""

Posted = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    shown: PluginPanel
    form: PanelForm
    fields: tuple[SettingField, ...]


class SettingsPages:
    """`panels`, `fields` and `change` are the host handle's."""

    def __init__(
        self,
        renderer: Renderer,
        panels: Callable[[], Awaitable[tuple[PluginPanel, ...]]],
        fields: Callable[[str], Awaitable[tuple[SettingField, ...]]],
        change: Callable[[str, Mapping[str, JsonValue]], Awaitable[tuple[SettingProblem, ...]]],
    ) -> None:
        self._renderer = renderer
        self._panels = panels
        self._fields = fields
        self._change = change

    async def show(self, request: web.Request) -> web.Response:
        found = await self._find(request.query.get("plugin", ""), request.query.get("form", ""))
        return self._page(found, None, ())

    async def save(self, request: web.Request) -> web.Response:
        whole = await request.clone(client_max_size=MAX_FORM_BYTES).post()
        posted = {name: value for name, value in whole.items() if isinstance(value, str)}
        found = await self._find(posted.get(forms.PLUGIN, ""), posted.get(forms.FORM, ""))
        problems = await self._apply(found, posted)
        if problems:
            return self._page(found, posted, problems)
        return web.Response(status=303, headers={"Location": "/"})

    async def switch(self, request: web.Request) -> web.Response:
        """Turn a plugin on or off."""
        form = await request.post()
        problems = await self._change(str(form.get("plugin", "")), {"enabled": "on" in form})
        if problems:
            raise ApplianceError(problems[0].text, mend=problems[0].mend, code="not-switched")
        return web.Response(status=303, headers={"Location": "/"})

    async def _apply(self, found: _Found, posted: Posted) -> tuple[SettingProblem, ...]:
        """Why nothing was changed."""
        if forms.RESET in posted:
            return await self._change(found.shown.plugin, {forms.top_key(each.key): None for each in found.fields})
        settings, problems = forms.read_form(found.fields, posted)
        if posted.get(forms.SEEN) != forms.fingerprint(found.fields):
            stale = StaleFormError()
            problems = (SettingProblem("", stale.text, stale.mend), *problems)
        if problems or not settings:
            return problems
        return await self._change(found.shown.plugin, settings)

    async def _find(self, plugin: str, label: str) -> _Found:
        """Raises `ApplianceError`."""
        for shown in await self._panels():
            for form in forms.forms_of(shown, TEXTS["settings"]):
                if (shown.plugin, form.label) == (plugin, label):
                    return _Found(shown, form, forms.fields_of(form, await self._fields(plugin)))
        text = f"the panel of {plugin[:64]} has no form {label[:64]!r} now"
        raise ApplianceError(text, mend="look at the page again", code="no-such-form")

    def _page(self, found: _Found, posted: Posted | None, problems: tuple[SettingProblem, ...]) -> web.Response:
        inputs = forms.inputs(found.fields, posted, problems)
        text = self._renderer.settings(found.shown, found.form, inputs, problems)
        return web.Response(text=text, status=422 if problems else 200, content_type="text/html")
