"""The control room's stylesheet, over the pages' own: the same colours in JupyterLab's light and dark themes."""

from __future__ import annotations

from athena.analysis import style

CSS = (
    style.CSS
    + """
.athena-room{--venue:var(--unknown)}
.athena-room .widget-html-content{line-height:1.4}
.athena-room .jupyter-button,.athena-room .athena-nav .widget-toggle-button{white-space:normal;height:auto;
min-height:var(--jp-widgets-inline-height);width:auto;padding:0 .7rem;font-variant-numeric:tabular-nums}
.athena-room .jupyter-button:focus-visible,.athena-room tr.pick:focus-visible,.athena-room .athena-sort:focus-visible{
outline:2px solid var(--jp-brand-color1,#1976d2);outline-offset:1px}
.athena-room .jupyter-button:disabled{opacity:.45}
.athena-room .athena-danger{background:var(--stop);color:#fff;font-weight:650}
body[data-jp-theme-light=false] .athena-room .athena-danger{background:#a8202d}
.athena-room .athena-controls{flex-flow:row wrap;gap:.35rem;align-items:center;overflow:visible}
.athena-room .athena-controls>*{margin:0;flex:0 1 auto}
.athena-room .athena-wide{flex:1 1 16rem;width:auto;min-width:9rem;max-width:36rem}
.athena-room .widget-label{font-variant-numeric:tabular-nums}
.athena-room .athena-nav .widget-toggle-buttons{flex-flow:row wrap}
.athena-room .athena-nav{margin:.45rem 0 .3rem;width:auto;border-bottom:1px solid var(--jp-border-color2,#ddd)}
.athena-room .athena-view{padding:.1rem 0 .5rem}
.athena-pane .athena-silent,.athena-trouble{background:var(--attention);color:#fff;font-weight:600;
padding:.35rem .7rem;border-radius:4px;margin:0 0 .4rem}
body[data-jp-theme-light=false] .athena-pane .athena-silent,body[data-jp-theme-light=false] .athena-trouble{color:#111}
.athena-fallen-silent>div:last-child,.athena .athena-old{filter:grayscale(1);opacity:.62;
background:repeating-linear-gradient(-45deg,transparent 0 10px,rgba(125,135,148,.14) 10px 20px)}
.athena-head{border-left:6px solid var(--venue);padding:.1rem 0 .1rem .7rem}
.athena-head .top{display:flex;flex-wrap:wrap;gap:.3rem .8rem;align-items:center}
.athena-venue{background:var(--venue);color:#fff;font-weight:700;letter-spacing:.03em;padding:.1rem .55rem;
border-radius:3px}
.venue-simulator{--venue:#2f6ea8}.venue-paper{--venue:#7a4a92}
.venue-live{--venue:#b3202f}.venue-live .athena-venue{outline:2px dashed #fff;outline-offset:-4px;padding:.2rem .8rem}
.athena-mode{color:var(--tone);font-size:1.35rem;font-weight:750;letter-spacing:.04em}
.athena-tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.4rem,1fr));gap:.3rem;margin:.4rem 0}
.athena-tile{background:var(--jp-layout-color2,var(--raise));border-left:3px solid var(--tone,var(--line));
padding:.22rem .5rem;border-radius:3px;min-width:0;overflow-wrap:break-word}
.athena-tile b{display:block;font-size:11.5px;font-weight:550;color:var(--soft)}
.athena-tile .v{color:var(--tone,var(--ink));font-weight:650}
.athena-tile .d{display:block;line-height:1.25;color:var(--soft);font-size:12px}
.athena-tile svg{display:block;width:100%;height:26px;overflow:visible}
.athena-halts{margin:.25rem 0;padding:0;list-style:none}
.athena-halts li{border-left:3px solid var(--tone);padding:.08rem .5rem;margin:.15rem 0}
.athena-meters{display:grid;grid-template-columns:repeat(auto-fit,minmax(21rem,1fr));gap:.2rem .9rem;margin:.3rem 0}
.athena-meter{display:grid;grid-template-columns:1fr auto;font-size:12.5px;gap:0 .5rem;align-items:baseline}
.athena-meter i{grid-column:1/3;height:6px;border-radius:3px;background:var(--line);overflow:hidden;display:block}
.athena-meter i::before{content:"";display:block;height:100%;width:var(--share);background:var(--tone)}
.athena-told{border-left:4px solid var(--tone);padding:.25rem .7rem;margin:.3rem 0;background:var(--raise);
max-height:15rem;overflow:auto}
.athena-told p{margin:.1rem 0;max-width:none;overflow-wrap:anywhere}
.athena-lines{margin:.2rem 0;padding:0;list-style:none}.athena-lines li{padding:.08rem 0;overflow-wrap:anywhere}
.athena-lines b{color:var(--tone)}
.athena-room a.athena-page{color:var(--jp-content-link-color,#1976d2);text-decoration:underline;font-weight:600}
.athena-playbook-form label{display:inline-block;min-width:7rem}
.athena-room code,.athena-room kbd{background:var(--jp-layout-color2,var(--raise));padding:0 .25rem;border-radius:3px;
color:inherit}
.athena-table .scroll{max-height:21rem;overflow:auto;margin:.2rem 0}
.athena-table table{width:100%}
.athena-table th{position:sticky;top:0;background:var(--jp-layout-color1,var(--ground));padding:.1rem .4rem}
.athena-table td{padding:.16rem .4rem;white-space:nowrap}
.athena-table td.toned{color:var(--tone);font-weight:600}
.athena-sort{all:unset;cursor:pointer;color:var(--soft);font-weight:550;white-space:nowrap}
.athena-table tr.pick{cursor:pointer}.athena-table tr.pick:hover{background:var(--jp-layout-color2,var(--raise))}
.athena-table tr.chosen{background:var(--jp-brand-color3,#cfe3f7)!important}
body[data-jp-theme-light=false] .athena-table tr.chosen{background:#22415f!important}
@media(max-width:640px){.athena-tiles{grid-template-columns:repeat(auto-fit,minmax(7.4rem,1fr))}
.athena-meters{grid-template-columns:1fr}.athena-meter{grid-template-columns:1fr}.athena-meter i{grid-column:1}
.athena-room>.athena-halting{order:-1}.athena-table td{white-space:normal}}
"""
)
