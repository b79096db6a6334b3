//! How the diagram looks. Every sort of arrow differs in form, too, so that colour is not needed.

/// The colours are those of Okabe and Ito, which people with any colour vision tell apart.
pub(super) const STYLE: &str = r"<style>
svg{--page:#fff;--ink:#1b1f24;--soft:#6a737d;--rule:#c4cad1;--told:#fff3bf;--blue:#0072b2;--green:#00795a;--red:#c04a00;font:11px ui-monospace,Menlo,Consolas,monospace}
@media (prefers-color-scheme:dark){svg{--page:#14181d;--ink:#e6e9ed;--soft:#98a2ad;--rule:#424a54;--told:#4a3f10;--blue:#62b5ec;--green:#3fc79c;--red:#ff9248}}
.page{fill:var(--page)}
text{fill:var(--ink)}
.title{font-size:15px;font-weight:bold}.sub,.kind,.time,.gap,.key,.folded,.note{fill:var(--soft)}
.note,.folded{paint-order:stroke;stroke:var(--page);stroke-width:3px}.name{font-weight:bold;text-anchor:middle}.kind{text-anchor:middle}.gap{font-style:italic}.folded{font-style:italic}
.life{stroke:var(--ink);stroke-width:1.4}.gone{stroke:var(--rule);stroke-dasharray:1 5}.frozen{stroke-width:5;stroke-dasharray:3 2;stroke:var(--blue)}
.band{fill:none;pointer-events:all}.row:hover .band{fill:var(--rule);fill-opacity:.35}rect.told{fill:var(--told)}.told .label{font-weight:bold}.dim{opacity:.38}
.arrow{stroke-width:1.6}.route{stroke-width:1}.label{text-anchor:middle;paint-order:stroke;stroke:var(--page);stroke-width:3px}.told .label{stroke:var(--told)}.start{text-anchor:start}.end{text-anchor:end}
.publish{stroke:var(--blue)}.confirm{stroke:var(--blue);stroke-dasharray:6 3}.deliver{stroke:var(--green)}.redeliver{stroke:var(--red);stroke-dasharray:9 4;stroke-width:2}.ack{stroke:var(--green);stroke-dasharray:2 3}.refusal{stroke:var(--red)}.setup{stroke:var(--soft);stroke-width:1}
.tip,.open{stroke-width:1.4;stroke-dasharray:none}.open{fill:none}.tip.publish{fill:var(--blue)}.tip.deliver{fill:var(--green)}.tip.redeliver{fill:var(--red)}
.cross{stroke:var(--red);stroke-width:2.4;fill:none}.link{fill:var(--page);stroke:var(--red);stroke-width:1.4}
.whole{stroke:var(--soft)}.bar{fill:var(--ink)}.ended{fill:var(--red)}.halted{fill:var(--blue)}
.depth{font-size:10px;text-anchor:end;paint-order:stroke;stroke:var(--page);stroke-width:3px}
.verdict{fill:var(--told);stroke:var(--red)}.observed{font-weight:bold}
</style>";
